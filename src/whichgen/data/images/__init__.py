"""Read, validate, decode and perturb image files."""
