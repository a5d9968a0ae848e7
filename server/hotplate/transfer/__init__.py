"""Moving data between Hotplate and Redis: `hotplate import` and `hotplate export`."""
