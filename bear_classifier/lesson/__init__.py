"""Pages that show why training works; nothing else imports them."""
