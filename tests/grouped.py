"""Options of models written flat, as tests like them, put into their groups."""

from rgbx.models.mca_sam.options import AdaptorConfig, ContrastConfig
from rgbx.models.samsod.options import AdapterConfig
from rgbx.models.stable_sam.options import PluginConfig
from rgbx.models.taseg.options import DFFMConfig, LoRAConfig, LossConfig
from rgbx.tasks.map_evaluation import EvalConfig
from rgbx.tasks.prompt_evaluation import PromptEvalConfig

MCA_SAM = {"adaptor": AdaptorConfig, "contrast": ContrastConfig, "evaluation": EvalConfig}
SAMSOD = {"adapter_options": AdapterConfig}
TASEG = {"dffm": DFFMConfig, "lora": LoRAConfig, "loss": LossConfig}
STABLE_SAM = {"plugin": PluginConfig, "evaluation": PromptEvalConfig}
#: flat names that are not the names in the group
_OTHER = {
    "adaptor_input": ("adaptor", "input"),
    "contrast_layers": ("contrast", "layers"),
    "eval_size": ("evaluation", "size"),
    "eval_kinds": ("evaluation", "kinds"),
    "eval_prompts": ("evaluation", "prompts"),
    "eval_iou": ("evaluation", "iou"),
    "adapter_width": ("adapter_options", "width"),
    "decoder_lora": ("lora", "decoder"),
    "dffm_width": ("dffm", "width"),
    "lora_alpha": ("lora", "alpha"),
    "lora_rank": ("lora", "rank"),
}


def grouped(groups: dict, options: dict) -> dict:
    """Constructor arguments: the options of a group as a dictionary under its name."""
    found: dict = {}
    for name, value in options.items():
        of = (g for g, kind in groups.items() if name in kind.__dataclass_fields__)
        group, own = _OTHER.get(name) or (next(of, None), name)
        if group is None or name in groups:
            found[name] = value
        else:
            found.setdefault(group, {})[own] = value
    return found
