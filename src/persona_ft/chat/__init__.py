"""From a chat export to pairs: read any of the usual formats, take private data out, pair questions with replies."""
