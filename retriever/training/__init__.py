"""Training of sparse encoders: texts and a configuration in, a model folder out.

`tamis.retriever.training.trainer.train` is the whole of it; the other modules are its parts, and
each can be used alone. Needs torch and transformers.
"""
