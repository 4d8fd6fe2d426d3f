"""Views of images: order, crops, colours, batches, evaluation passes."""
