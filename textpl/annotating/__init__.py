"""Labels by a language model behind an OpenAI-compatible endpoint: asked once per text, every answer kept."""
