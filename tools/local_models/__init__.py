"""The model of the local stack: it draws the shapes, colours and places that it is asked for."""
