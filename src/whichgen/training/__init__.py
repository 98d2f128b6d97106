"""Training, selection and evaluation of models, with control experiments."""
