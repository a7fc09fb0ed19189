"""What a run sends to the Hub: checkpoints beside training, and its end, each a snapshot and one commit."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from transformers import TrainingArguments

from dailymae_hf.hub.client import create_repository, is_transient, with_retries
from dailymae_hf.hub.files import MODEL_FILES, RECORD_FILES, latest_reconstruction, matching
from dailymae_hf.hub.uploads import Pause, Uploads, snapshot
from dailymae_hf.run_files import RESULTS_NAME
from dailymae_hf.training.run_facts import write_facts

logger = logging.getLogger(__name__)


class RunUploader:
    """Uploads a run's folder in the background; faults that pass are tried again, one that does not is logged.

    The stock Trainer uploads what lies in the output folder while the run goes on writing to it, and ends the run where
    an upload fails. `dailymae push` can follow later where an upload did not come through. Made on the first rank only.

    Args:
        folder: the run's output folder.
        repository: USER/NAME or NAME; by default the folder's name. It is made here, so that a wrong token shows
            before anything is trained.
        private: None leaves an existing repository as it is.
        token, revision: as the Hub's client takes them.

    Raises:
        HubError: the Hub refuses. (One that cannot be reached is tried again at each push.)
    """

    def __init__(
        self,
        folder: str | Path,
        repository: str | None,
        *,
        private: bool | None = None,
        token: str | None = None,
        revision: str | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.repository = repository or self.folder.absolute().name
        self._private, self._token, self._revision = private, token, revision
        self._uploads = Uploads(self._upload)
        api = HfApi(token=token)
        try:
            self.repository = with_retries(
                lambda: create_repository(api, self.repository, private=private),
                f"push_to_hub, repository {self.repository}",
                waits=(),
            )
        except Exception as error:
            if error.__cause__ is None or not is_transient(error.__cause__):
                raise
            logger.warning("the Hub cannot be reached now (%s); the first push will try again", error)

    @classmethod
    def of_run(cls, args: TrainingArguments, *, token: str | None, private: bool | None) -> "RunUploader":
        """The uploader that training arguments describe; `token` and `private` overrule theirs."""
        return cls(
            str(args.output_dir),
            args.hub_model_id,
            private=args.hub_private_repo if private is None else private,
            token=token or args.hub_token,
            revision=args.hub_revision,
        )

    def send_checkpoint(self, checkpoint: Path, step: int, facts: Mapping[str, Any]) -> None:
        """Upload the model of a checkpoint; returns at once."""
        # Results are of the end of a run; those that lie there now are an earlier run's.
        self._submit(checkpoint, f"Training in progress, step {step}", facts, left_out={RESULTS_NAME})

    def send_end(self, message: str, facts: Mapping[str, Any], *, blocking: bool) -> str | None:
        """Upload the model in the output folder; waits with `blocking`, and returns the commit's address if it came."""
        self._submit(self.folder, message, facts, left_out=set())
        address = self.wait() if blocking else None
        if blocking and address is None:
            logger.warning(
                "the model is in %s and not on the Hub; `dailymae push %s --repo %s` tries again",
                *(self.folder, self.folder, self.repository),
            )
        return address

    def wait(self) -> str | None:
        """Return when nothing is left to upload: the last commit's address, None where it did not come to one."""
        self._uploads.wait()
        return None if self._uploads.error is not None else self._uploads.address

    def _submit(self, weights: Path, message: str, facts: Mapping[str, Any], left_out: set[str]) -> None:
        """Hand over the model in `weights` with this run's records; no failure leaves this function."""
        try:
            records = tuple(pattern for pattern in RECORD_FILES if not pattern.startswith("images/"))
            files = {**matching(self.folder, records), **matching(weights, MODEL_FILES)}
            newest = latest_reconstruction(self.folder)
            if newest is not None:
                files[f"reconstructions/{newest.name}"] = newest
            copy = snapshot({name: path for name, path in files.items() if name not in left_out}, self.folder)
            write_facts(facts, copy)
            self._uploads.submit(copy, message)
        except Exception as error:
            logger.warning("not uploaded: %s: %s", type(error).__name__, error)

    def _upload(self, folder: Path, message: str, pause: Pause) -> str:
        from dailymae_hf.hub.push import push_model  # with the card's template engine and plots

        return push_model(
            folder,
            self.repository,
            private=self._private,
            token=self._token,
            revision=self._revision,
            message=message,
            pause=pause,
        )
