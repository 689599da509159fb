"""Scripts of the development set-up; nothing here is installed."""
