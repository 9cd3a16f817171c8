"""What agents may rely on, tried over every front and every kind of upstream."""
