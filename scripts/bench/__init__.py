"""The benchmarks: `tamis bench ...`, one module a subject."""
