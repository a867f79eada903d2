"""What looks secret is masked where texts are recorded or passed on."""

from __future__ import annotations

import doctest
import time

import pytest

from cnn_sweep import masking
from cnn_sweep.masking import masked

SECRETS = [
    "cnn-sweep run a.yaml --notify https://chat.example.org/S3CRET0123 --threads 2",
    "cnn-sweep run a.yaml --notify 'curl -d S3CRET0123 example.org' --threads 2",
    "cnn-sweep run a.yaml '--notify=mail -s S3CRET0123 me' --threads 2",
    'notify = ["https://hooks.slack.com/services/S3CRET0123"]',
    "https://discord.com/api/webhooks/12/S3CRET0123",
    "https://me:S3CRET0123@example.org/x",
    "postgresql://me:S3CRET0123@db/x",
    "curl -H 'Authorization: Bearer S3CRET0123' example.org",
    "https://example.org/x?n=1&token=S3CRET0123&m=2",
    "+API_TOKEN = 'S3CRET0123'",
    "+password: S3CRET0123",
    "{'wandb_api_key': \"S3CRET0123\"}",
    "--token S3CRET0123",
    "ghp_S3CRET0123S3CRET0123",
    "AKIAS3CRET0123ABCDEF",
    "-----BEGIN OPENSSH PRIVATE KEY-----\nS3CRET0123\n-----END OPENSSH PRIVATE KEY-----",
    "-----BEGIN RSA PRIVATE KEY-----\nS3CRET0123",
]
HARMLESS = [
    "cnn-sweep run a.yaml --set model.units=8 --threads 2",
    "tokenizer: words, max_tokens=5, token_size: {low: 1, high: 9}",
    "def login(password: str, key=3):",
    'self.token = os.environ["TOKEN"]',
    "https://example.org/images/a.png?size=3",
    "author: Ann Other",
]


@pytest.mark.parametrize("text", SECRETS)
def test_what_looks_secret_is_masked(text):
    """Passwords, tokens, keys and the addresses of webhooks do not pass, and a second mask changes nothing."""
    assert "S3CRET0123" not in masked(text)
    assert masking.MASK in masked(text)
    assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_other_text_is_left_as_it_is(text):
    """Ordinary code, options and addresses are not changed."""
    assert masked(text) == text


def test_the_examples_of_the_docstring():
    """The docstring's examples are true."""
    assert doctest.testmod(masking).failed == 0


@pytest.mark.parametrize(
    "text", ["a" * 99_999, "api_" * 20_000, "'" * 50_000, "--notify '" * 5_000, "x_token=" * 9_999]
)
def test_masking_takes_time_in_proportion_to_the_text(text):
    """No text makes a pattern search for long."""
    began = time.process_time()
    masked(text)
    assert time.process_time() - began < 5
