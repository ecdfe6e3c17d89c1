"""What a collection is at one moment: the manifest, its parts, and what became unused."""
