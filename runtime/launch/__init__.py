"""The processes of a run: who starts them, who has which rank, how they agree."""
