"""A plan: settings that fit the images and the machine, with their reasons."""
