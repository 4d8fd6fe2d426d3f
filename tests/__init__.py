"""The tests mirror `tfclust/`; `support` has what several of them use."""
