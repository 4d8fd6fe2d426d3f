"""One recipe trained and measured with several values of its knobs."""
