"""Where images come from, a file a kind; `uris` opens them by a word."""
