"""Care of a collection that is whole: snapshots, verification, upgrades, tuning."""
