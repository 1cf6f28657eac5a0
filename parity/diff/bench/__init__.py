"""Mistakes planted in ports of small models: does the diff name the layer and the cause?"""
