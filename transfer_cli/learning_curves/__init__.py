"""`learning-curve`: accuracy by the number of training images, and what more images would bring."""
