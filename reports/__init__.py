"""What people read: the story behind a person, an event or a decision."""
