"""The workers of one machine: started and replaced; the study's progress, and notifications at its end."""
