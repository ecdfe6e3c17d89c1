"""HTTP itself: the application, its routes and pages, keys and logs."""
