"""Hugging Face's Trainer with dcpcpp: a callback that saves, resumes and removes old steps.

    python trainer_callback.py --folder out --steps 20
    python trainer_callback.py --folder out --steps 40   # goes on from step 20

Copy `CheckpointCallback` into your own script. The trainer's own checkpoints are off
(`save_strategy="no"`). The data begins anew when a run goes on: if that matters, pass a
loader with a state as "dataloader" in `states`.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

import dcpcpp


class CheckpointCallback(TrainerCallback):
    """Keeps a trainer's checkpoints by a `dcpcpp.CheckpointManager` in its output directory."""

    def __init__(self, config: dcpcpp.CheckpointConfig) -> None:
        self.config = config
        self.progress = {"step": 0}

    def on_train_begin(self, args: Any, state: Any, control: Any, **trainer: Any) -> None:
        optimizer = trainer["optimizer"]
        states = {
            "model": trainer["model"],
            "optimizer": getattr(optimizer, "optimizer", optimizer),  # without accelerate's shell
            "lr_scheduler": trainer["lr_scheduler"],
            "train_state": self.progress,
        }
        self.manager = dcpcpp.CheckpointManager(self.config, states, base_folder=args.output_dir)
        if self.manager.load():
            state.global_step = self.progress["step"]

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.manager.maybe_wait_for_staging()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.progress["step"] = state.global_step
        is_last = state.global_step >= state.max_steps
        self.manager.save(state.global_step, last_step=is_last)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.manager.close()


def build() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=101,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True)
    parser.add_argument("--steps", type=int, required=True)
    dcpcpp.CheckpointConfig.add_arguments(parser)
    arguments = parser.parse_args()
    config = dcpcpp.CheckpointConfig(
        enable=True, interval=4, keep_latest_k=3, last_save_model_only=False, async_mode="async"
    ).with_arguments(arguments)
    # The same sentence again and again: it does not matter here that the data begins anew.
    sentence = torch.arange(16) * 7 % 101
    data = [{"input_ids": sentence, "labels": sentence}] * 256
    trainer = Trainer(
        model=build(),
        args=TrainingArguments(
            output_dir=arguments.folder,
            max_steps=arguments.steps,
            per_device_train_batch_size=4,
            logging_steps=4,
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=4,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        ),
        train_dataset=data,
        callbacks=[CheckpointCallback(config)],
    )
    trainer.train()


if __name__ == "__main__":
    main()
