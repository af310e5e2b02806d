"""Public data sets of courses: downloaded, verified, and written as folders of images."""
