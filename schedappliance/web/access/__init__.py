"""Who may enter: the guard before the page, the doors by which it knows its viewers, and refusals."""
