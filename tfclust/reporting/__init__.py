"""A run as a page: is it working, and what is in its clusters?"""
