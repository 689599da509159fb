"""What differs from one model family to the next: how a task becomes a call of its pipeline."""
