"""Changes on their way into a collection: logged, built into segments, published."""
