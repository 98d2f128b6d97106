"""From features and logits to known or unknown."""
