"""The compiler's passes, one file each; `pipeline` is the list."""
