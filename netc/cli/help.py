"""What `--help` says: verbs by what they are for, an example each, and which options come first."""

from __future__ import annotations

from netc.errors import folded

GROUPS = {
    "look at networks": ("check", "summary", "render", "fmt"),
    "plan": ("compile", "explain", "compare", "diff", "plan"),
    "run": ("data", "run", "eval", "predict", "report", "profile", "trace"),
    "exchange with other tools": ("export", "import"),
    "this machine": ("tune", "calibrate", "doctor", "completion"),
}
"""Verbs, by what they are for."""

EXAMPLES = {
    "check": ("netc check models/vgg16.net -D bn=true",),
    "summary": ("netc summary resnet50",),
    "render": (
        "netc render digits",
        "netc render resnet18 --batch 512 --set train.rate_batch=256",
    ),
    "fmt": ("netc fmt mine.net blocks/*.net", "netc fmt --check models/*.net"),
    "compile": (
        "netc compile vgg16 --devices 4 --batch 128",
        "netc compile digits --devices 2 -o digits.netc && netc run digits.netc",
    ),
    "compare": ("netc compare vgg16 --cluster h200 --devices 1,2,4,8",),
    "diff": ("netc diff alexnet data hybrid --devices 4 --cluster p100",),
    "explain": (
        "netc explain vgg16 --devices 8 --cluster k20",
        "netc explain vgg16 --devices 8 --cluster k20 --layer 'fc*'",
    ),
    "plan": ("netc plan vgg16 --devices 4 --cluster h100 -o vgg16.html",),
    "data": ("netc data resnet18 -D classes=3 --data photos/",),
    "run": (
        "netc run digits --devices 4 --epochs 5",
        "netc run alexnet --data 'synthetic()' --steps 20",
        "netc run digits --set train.sgd.lr=0.02 --set 'train.schedule=poly()'",
        "netc run resnet18 -D classes=3 --data photos/ --out runs/photos",
        "netc run resnet18 -D classes=3 --data photos/ --out runs/photos --resume",
    ),
    "eval": ("netc eval digits --out runs/digits",),
    "predict": ("netc predict resnet18 cat.jpg dog.jpg --weights resnet18.safetensors",),
    "report": ("netc run digits --epochs 5 && netc report runs/digits",),
    "profile": ("netc profile alexnet --batch 16 -o roofline.svg",),
    "trace": (
        "netc run digits --devices 2 --steps 20 --trace step.json",
        "netc trace step.json",
    ),
    "export": ("netc export digits --weights runs/digits -o digits.onnx",),
    "import": ("netc import model.onnx -o model.net",),
    "tune": ("netc tune alexnet --batch 16",),
    "calibrate": ("netc calibrate vgg16 --batch 8",),
    "doctor": ("netc doctor",),
    "completion": (
        "netc completion bash > ~/.local/share/bash-completion/completions/netc",
        "netc completion zsh > ~/.zfunc/_netc    # a folder of fpath",
        "netc completion fish > ~/.config/fish/completions/netc.fish",
    ),
}
"""Calls that can be copied, by verb."""

SHOWN = ("--devices", "--strategy", "--strategies", "--batch", "--cluster")
"""Options of a plan that `--help` explains; it only names the others, as `--help-all` does not."""

LAST = ("program", "plan", "general")
"""Groups of options that stand behind those of the verb itself, in this order."""


def verbs_text(about: dict[str, str], columns: int) -> str:
    """All verbs with what they do, in their groups."""
    width = max(map(len, about))
    lines = []
    for title, verbs in GROUPS.items():
        lines += ["", f"{title}:"]
        lines += (
            folded(f"  {verb:{width}}  {about[verb]}", columns, hang=width + 4) for verb in verbs
        )
    return "\n".join(lines)


def example_text(verb: str) -> str:
    """The examples of a verb, one a line."""
    calls = EXAMPLES[verb]
    title = "examples" if len(calls) > 1 else "example"
    return "\n".join((f"{title}:", *(f"  {call}" for call in calls)))
