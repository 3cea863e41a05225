"""Plans for people and for other programs: pictures, Graphviz and JSON."""

from netc.export.describe import PlanFacts
from netc.export.write import plan_dot, plan_json, plan_scene, write_plan

__all__ = ["PlanFacts", "plan_dot", "plan_json", "plan_scene", "write_plan"]
