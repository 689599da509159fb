"""Routes of the gateway: thin, one router each."""
