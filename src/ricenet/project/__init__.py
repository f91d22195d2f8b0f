"""A project of one's own: made by `ricenet init`, brought to another version by `ricenet upgrade`."""
