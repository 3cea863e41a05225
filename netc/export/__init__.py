"""Plans for people and for other programs: pictures, Graphviz and JSON."""

from netc.export.describe import Facts
from netc.export.write import plan_dot, plan_json, plan_scene, write_plan

__all__ = ["Facts", "plan_dot", "plan_json", "plan_scene", "write_plan"]
