"""Where images come from, a file per kind; `uris` opens them by their URI."""
