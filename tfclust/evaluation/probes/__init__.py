"""Linear layers that read frozen features; the linear protocol picks one."""
