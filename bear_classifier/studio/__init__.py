"""The studio: from an empty page to a published classifier, by the commands of the command line."""
