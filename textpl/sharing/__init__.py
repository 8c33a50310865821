"""Push what textpl made to the Hugging Face Hub: models and datasets, each with a card."""
