"""Plans: what images look like, what is settled, and how long it takes."""
