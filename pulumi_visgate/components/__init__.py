"""Layer 3: components that compose the resources."""
