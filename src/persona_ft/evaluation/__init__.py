"""Is it the person's voice, and is it true? Arms, scores, their uncertainty, a judge, and a blind test with people."""
