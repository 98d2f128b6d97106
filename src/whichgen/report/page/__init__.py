"""One HTML file of an experiment, for people who look rather than read JSON."""
