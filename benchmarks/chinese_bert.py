"""A small Chinese BERT, pre-trained on nothing but raw texts: for recipes where no Chinese weights are at hand.

    python benchmarks/chinese_bert.py FOLDER/train.parquet --out OUT

Characters are the tokens; 4 layers of width 256, masked-language modelling (Devlin et al. 2019, arXiv 1810.04805, no
next-sentence prediction). Labels are not read. With a real model of Chinese, say its Hub id instead.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from datasets import load_dataset
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizerFast,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
    set_seed,
)

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LEAST = 5  # occurrences of a character that gets a token of its own


def make_tokenizer(texts: list[str], folder: Path, max_length: int) -> BertTokenizerFast:
    """One token per character, and one per character inside a Latin word."""
    counts = Counter(character for text in texts for character in text.lower() if not character.isspace())
    frequent = sorted(character for character, count in counts.items() if count >= LEAST)
    inside = [f"##{character}" for character in frequent if character.isascii() and character.isalnum()]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(SPECIAL + frequent + inside) + "\n", encoding="utf-8")
    return BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=max_length)


def main() -> None:
    """Read, pre-train, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="parquet, jsonl or csv file with a column text")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--max-length", type=int, default=64)
    wanted = parser.parse_args()
    set_seed(0)
    kind = {"jsonl": "json"}.get(wanted.file.rsplit(".", 1)[-1], wanted.file.rsplit(".", 1)[-1])
    texts = load_dataset(kind, data_files=wanted.file, split="train")
    tokenizer = make_tokenizer(texts["text"][:], wanted.out, wanted.max_length)
    encoded = texts.map(
        lambda rows: tokenizer(rows["text"], truncation=True), batched=True, remove_columns=texts.column_names
    )
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=1024,
        max_position_embeddings=128,
    )
    arguments = TrainingArguments(
        output_dir=str(wanted.out / "work"),
        max_steps=wanted.steps,
        per_device_train_batch_size=64,
        learning_rate=1e-3,
        warmup_steps=0.05,
        lr_scheduler_type="linear",
        weight_decay=0.01,
        bf16=True,
        train_sampling_strategy="group_by_length",
        logging_steps=200,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
    )
    model = BertForMaskedLM(config)
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    Trainer(model=model, args=arguments, train_dataset=encoded, data_collator=collator).train()
    model.save_pretrained(wanted.out)
    tokenizer.save_pretrained(wanted.out)


if __name__ == "__main__":
    main()
