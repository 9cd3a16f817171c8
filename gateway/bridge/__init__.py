"""Between the eras: what must change in a request or a notification on its way."""
