"""What follows from customers and is told when it changes: whom an audience holds, which tier somebody has."""
