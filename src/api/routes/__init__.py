"""One file per area; a route takes what it needs in its signature and catches nothing."""
