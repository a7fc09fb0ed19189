"""What the Trainer does with `push_to_hub`: checkpoints go up beside training, and the end waits for the last one."""

import logging
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from transformers import PreTrainedModel
from transformers.trainer_utils import HubStrategy

from dailymae_hf.errors import RecipeError
from dailymae_hf.hub.card import write_card
from dailymae_hf.hub.client import create_repository, may_pass, retried
from dailymae_hf.hub.files import MODEL_FILES, RECORD_FILES, latest_reconstruction, matching
from dailymae_hf.hub.push import push_model
from dailymae_hf.hub.uploads import Pause, Uploads, snapshot
from dailymae_hf.training.checkpoint import ExactResumeTrainer
from dailymae_hf.training.run_facts import write_facts

logger = logging.getLogger(__name__)

_RESULTS = "results.json"  # of the end of a run; one that lies there earlier is an earlier run's


class PushingTrainer(ExactResumeTrainer):
    """The Trainer's way to the Hub, with our card instead of stubs, and without optimizer states.

    The stock one uploads what lies in the output folder while the run goes on writing to it, and ends the run where
    an upload fails. Here each upload is a snapshot and one commit, faults that pass are tried again, and one that does
    not is logged: `dailymae push` can follow later.
    """

    card_kind: str | None = None  # which template tells of this kind of model; None: it has no card
    provenance: dict[str, Any] = {"base_model": None, "datasets": []}  # noqa: RUF012  replaced, never changed

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Make the repository before anything is trained, so that a wrong token shows at once.

        Raises:
            HubError: the Hub refuses. (One that cannot be reached is tried again at each push.)
            RecipeError: models of this kind have no card.
        """
        if self.card_kind is None:
            raise RecipeError("push_to_hub: only masked autoencoders and image classifiers have a model card here")
        if not self.is_world_process_zero():
            return
        args = self.args
        self.hub_model_id = args.hub_model_id or Path(args.output_dir).absolute().name
        self.uploads = Uploads(self._upload)
        api = HfApi(token=token or args.hub_token)
        try:
            self.hub_model_id = retried(
                lambda: create_repository(
                    api, self.hub_model_id, private=args.hub_private_repo if private is None else private
                ),
                f"push_to_hub, repository {self.hub_model_id}",
                waits=(),
            )
        except Exception as error:
            if error.__cause__ is None or not may_pass(error.__cause__):
                raise
            logger.warning("the Hub cannot be reached now (%s); the first push will try again", error)

    def _upload(self, folder: Path, message: str, pause: Pause) -> str:
        return push_model(
            folder,
            self.hub_model_id,
            private=self.args.hub_private_repo,
            token=self.args.hub_token,
            revision=self.args.hub_revision,
            message=message,
            pause=pause,
        )

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        if not isinstance(self.core_model, PreTrainedModel):  # not what others could load; the end of the run folds it
            return
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        self._submit(Path(checkpoint_folder), f"Training in progress, step {self.state.global_step}", _RESULTS)

    def _submit(self, weights: Path, message: str, *left_out: str) -> None:
        """Upload the model in `weights` with this run's facts, in the background; no failure leaves this function."""
        try:
            folder = Path(self.args.output_dir)
            files = {
                **matching(folder, tuple(pattern for pattern in RECORD_FILES if not pattern.startswith("images/"))),
                **matching(weights, MODEL_FILES),
            }
            newest = latest_reconstruction(folder)
            if newest is not None:
                files[f"reconstructions/{newest.name}"] = newest
            copy = snapshot({name: path for name, path in files.items() if name not in left_out}, folder)
            write_facts(self, copy)
            self.uploads.submit(copy, message)
        except Exception as error:
            logger.warning("not uploaded: %s: %s", type(error).__name__, error)

    def _finish_current_push(self) -> None:
        if hasattr(self, "uploads"):
            self.uploads.wait()

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> str | None:
        """Push the model as it is, with its card; returns the commit's address, None where it did not come to one.

        Called on every rank. Token and revision are those of the arguments (`hub_token` and so on) and refused here:
        checkpoints have gone up with those already.
        """
        if token is not None or revision is not None or kwargs:
            raise RecipeError("push_to_hub: hub_token, hub_revision and the like belong into the training arguments")
        if self.hub_model_id is None:
            self.init_hf_repo(private=private)
        self._finish_current_push()  # it may still read the weights that are about to be written
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        self.create_model_card()
        self._submit(Path(self.args.output_dir), commit_message or "End of training")
        if not blocking:
            return None
        self.uploads.wait()
        if self.uploads.error is not None:
            logger.warning(
                "the model is in %s and not on the Hub; `dailymae push %s --repo %s` tries again",
                *(self.args.output_dir, self.args.output_dir, self.hub_model_id),
            )
            return None
        return self.uploads.address

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Our facts and card in the output folder, where the stock Trainer would write stubs over it."""
        if self.card_kind is not None and self.is_world_process_zero():
            folder = Path(self.args.output_dir)
            write_facts(self, folder)
            write_card(folder)
