"""From class probabilities to known or unknown."""
